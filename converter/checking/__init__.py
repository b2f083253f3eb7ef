"""Is a store whole, valid and true to its slide?"""
