//! Starts the real gateway, a scripted vLLM and clients.
