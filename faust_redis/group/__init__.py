"""Who owns which partition: leases, members, balance."""
