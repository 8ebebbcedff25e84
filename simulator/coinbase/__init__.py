"""The Coinbase Advanced Trade wire protocol: signatures, requests and response shapes."""
