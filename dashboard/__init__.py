"""The screen: a Streamlit app that reads studies and writes nothing."""
