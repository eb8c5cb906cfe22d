"""MCP: what a console shows and does, as tools for an AI client, behind the same gate."""
