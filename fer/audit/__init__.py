"""What is wrong with a data set: repeated and blank pictures, leaks between splits, suspected labels."""
