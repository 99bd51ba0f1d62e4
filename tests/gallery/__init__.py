"""Mails to look at: one of every sort, made of recorded speech, with what each is to say."""
