"""What `openpaf demo` shows: a page for the browser's camera, and an image's fields as panels."""
