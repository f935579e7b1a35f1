"""Real drivers at work through a real poolguard for minutes, while clients, servers and PostgreSQL die.

- `marks`: what every client checks, and what it tells at the end.
- `blocking`: clients of psycopg, psycopg2 and pg8000, in threads.
- `looping`: clients of asyncpg, on a loop.
- `crowd`: a process of clients of one driver.
- `trouble`: kills of backends, restarts and crashes of PostgreSQL, reloads of poolguard.
- `verdict`: what must be true at the end.
"""
