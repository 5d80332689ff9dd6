"""The Streamlit report."""
