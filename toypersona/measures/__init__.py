"""What is measured of a policy, exactly or from samples."""
