"""What `tidemill doctor` looks at: one function a check, each giving findings with the way out."""
