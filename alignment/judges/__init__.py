"""AI judges: machines that rank tasks blind, beside people and never in their places."""
