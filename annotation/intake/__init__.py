"""Bringing in what people have elsewhere: prompts, responses and preferences, in the forms that they have them.

`forms` read a file's rows as `items`, `previewing` shows some of them, `staging` copies them beside the tables,
`settling` makes prompts, responses, tasks and rankings of them, and `jobs` does that in the background.
"""
