"""The federation API, on aiohttp."""
