"""Small networks that train in seconds or minutes on a CPU."""
