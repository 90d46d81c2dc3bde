"""The server's side of Nowait: Tornado handlers that never wait, and the bridge to the workers."""
