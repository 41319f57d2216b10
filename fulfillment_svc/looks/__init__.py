"""How a program looks to people, on its pages and in its mails: in its name, with its logo and in its colours, whatever
those are. Everything is rendered from `templates`, and nothing is loaded from elsewhere."""
