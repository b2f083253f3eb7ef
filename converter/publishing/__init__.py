"""Where a store is written unseen, and how it appears: folders and object stores."""
