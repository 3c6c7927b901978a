"""DVC's remotes and cache: pointing the two remotes somewhere, checking them, accounting for what they hold.

The one room that imports DVC; every other room works on plain files.
"""
