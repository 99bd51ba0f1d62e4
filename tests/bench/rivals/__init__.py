"""The same dialogue by other libraries, as their documentation would have it: no journal, no mail."""
