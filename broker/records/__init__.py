"""Record batches as bytes: validate, patch the header, iterate when one must."""
