"""Attribution maps of images and their faithfulness."""
