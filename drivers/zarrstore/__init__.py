"""Reading Zarr stores, local and remote: what the omezarr driver and the checks of a store use alike."""
