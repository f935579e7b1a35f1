"""The PostgreSQL protocol, 3.0 and 3.2, as bytes in and values out.

Pure: holds bytes, never a socket; knows nothing of pools or sessions. PostgreSQL is authoritative: where its
manual (chapter 55) and its behaviour differ, its behaviour is followed. A malformed message from a client raises
ClientViolation, one from PostgreSQL ServerViolation; both name the limit or field, never its content.

- `framing`: cut a stream into messages.
- `messages`: build and read single messages.
- `startup`: what comes before a session is logged in.
- `options`: the startup parameter of that name.
- `scram`: SCRAM-SHA-256: secrets, and the server's side.
- `scram_client`: the client's side.
- `saslprep`: passwords as SCRAM hashes them.
- `text`: what a statement means to a pooler (BEGIN, SET, LISTEN ...), from its text.
- `tokens`: a text cut into statements and words.
- `subscriptions`: LISTEN and UNLISTEN.
- `meaning`: what one statement leaves behind in its server's session, and takes back.
- `path`: a SET of search_path that can be said again.
- `long_text`: the same for texts that are too long to be read word by word.
- `classes`: what kind of work a statement is (reads, writes, DDL, COPY ...), from its text without literals.
- `fingerprint`: a statement without its literals, for people and metrics.
"""
