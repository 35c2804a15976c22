"""Files to named arrays. Nothing is unpickled, nothing is executed, and memory is bounded whatever a file claims."""
