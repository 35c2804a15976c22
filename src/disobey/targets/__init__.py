"""What a student is asked to match: losses, schedules, teachers. Pure tensor functions and values."""
