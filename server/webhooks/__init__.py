"""The ends of jobs, delivered to those who have given a URL for it: https://www.standardwebhooks.com/."""
