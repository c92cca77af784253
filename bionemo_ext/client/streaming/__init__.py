"""Records to requests and answers to results, any number of them, in order."""
