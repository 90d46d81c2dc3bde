"""What the server answers to which requests, as a document: https://spec.openapis.org/oas/v3.1.1.html."""
