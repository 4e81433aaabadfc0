"""One file a page, run by Streamlit's navigation."""
