"""The networks that this project trains, one family a file."""
