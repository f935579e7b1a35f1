"""Django's ORM, with the settings that the README shows; and once with server-side cursors, which the README turns off."""

import threading

import django
from django.conf import settings
from report import LARGE, LEAK, LEAKY, MANY, ROWS, TARGET, Admin, main, parts, raises, same


def database(url, **more):
    """As in the README."""
    host, port, user, name = parts(url)
    return {
        "ENGINE": "django.db.backends.postgresql",
        "HOST": host,
        "PORT": port,
        "NAME": name,
        "USER": user,
        "DISABLE_SERVER_SIDE_CURSORS": True,
        **more,
    }


settings.configure(
    DATABASES={
        "default": database(TARGET),
        "leaky": database(LEAKY or TARGET),
        "cursors": database(TARGET, DISABLE_SERVER_SIDE_CURSORS=False),
        "prepared": database(TARGET, OPTIONS={"server_side_binding": True, "prepare_threshold": 0}),
        "strict": database(TARGET, OPTIONS={"isolation_level": 4}),
    },
    USE_TZ=True,
)
django.setup()

from django.db import DEFAULT_DB_ALIAS, Error, connection, connections, models, transaction  # noqa: E402

ADMIN = Admin()


class Note(models.Model):
    id = models.BigAutoField(primary_key=True)
    mark = models.TextField()
    number = models.IntegerField(null=True)

    class Meta:
        app_label = "interop"
        db_table = "notes"


def code_of(error):
    return getattr(error.__cause__, "sqlstate", None)


def one(statement, parameters=(), using=DEFAULT_DB_ALIAS):
    with connections[using].cursor() as cursor:
        cursor.execute(statement, parameters)
        return cursor.fetchone()


def transactions():
    with transaction.atomic():
        Note.objects.bulk_create([Note(mark="kept", number=number) for number in range(5)])
        try:
            with transaction.atomic():
                Note.objects.create(mark="undone")
                one("SELECT 1/0")
        except Error:
            Note.objects.create(mark="kept")
    with transaction.atomic():
        Note.objects.create(mark="undone")
        raises(lambda: one("SELECT 1/0"), "22012", code_of=code_of)
        raises(lambda: one("SELECT 1"), "25P02", code_of=code_of)
        transaction.set_rollback(True)
    with transaction.atomic():
        locked = Note.objects.select_for_update().get(mark="kept", number=3)
        locked.number = 33
        locked.save()
    same(Note.objects.filter(mark="kept").order_by("-number").values_list("number", flat=True)[1], 33)
    with transaction.atomic(using="strict"):
        same(one("SHOW transaction_isolation", using="strict"), ("serializable",))
    same((ADMIN.marks("kept"), ADMIN.marks("undone")), (6, 0))


def prepared():
    """With server-side binding, which prepares each statement."""
    for _ in range(2):
        for number in range(MANY):
            same(one(f"SELECT %s::int + {number}", (number,), using="prepared"), (2 * number,))
    ordered = Note.objects.using("prepared").annotate(twice=models.F("number") * 2).filter(mark="kept", number__lt=4)
    same([note.twice for note in ordered.order_by("number")], [0, 2, 4])


def cancel():
    inner = connection.connection

    def when_it_sleeps():
        Admin().wait_until_it_sleeps()
        inner.cancel_safe()

    thread = threading.Thread(target=when_it_sleeps)
    thread.start()
    raises(lambda: one("SELECT pg_sleep(60)"), "57014", code_of=code_of)
    thread.join()
    same(one("SELECT 1"), (1,))


def cursors():
    """iterator() with server-side cursors: WITH HOLD outside of atomic()."""
    Note.objects.bulk_create([Note(mark="many", number=number) for number in range(5000)])
    for using in ("default", "cursors"):
        many = Note.objects.using(using).filter(mark="many").order_by("number")
        same([note.number for note in many.iterator(chunk_size=500)], list(range(5000)))
        with transaction.atomic(using=using):
            same(sum(1 for _ in many.iterator(chunk_size=500)), 5000)


def large():
    value = bytes(range(256)) * (LARGE // 256)
    [got] = one("SELECT %s::bytea", (value,))
    same(bytes(got), value)
    with connection.cursor() as cursor:
        cursor.execute("SELECT n, repeat('x', 100) FROM generate_series(1, %s) n", (ROWS,))
        same(cursor.fetchall(), [(number, "x" * 100) for number in range(1, ROWS + 1)])


def reconnect():
    """As after each request: what is unusable is closed, and opened again when it is needed."""

    def killed():
        with transaction.atomic():
            ADMIN.kill(one("SELECT pg_backend_pid()")[0])
            one("SELECT 1")

    raises(killed, code_of=code_of)
    connection.close_if_unusable_or_obsolete()
    same(one("SELECT 1"), (1,))


def crowd():
    failures = []

    def request(mark):
        try:
            for number in range(20):
                with transaction.atomic():
                    row = one("SELECT %s, repeat(%s, 500)", (f"{mark}/{number}", str(mark)))
                    same(row, (f"{mark}/{number}", str(mark) * 500))
        except Exception as error:
            failures.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=request, args=(mark,)) for mark in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    same(failures, [])


def leaked_then_statement():
    with transaction.atomic(using="leaky"):
        one(LEAK + " RETURNING 1", using="leaky")
        ADMIN.wait_until_rolled_back()
        raises(lambda: Note.objects.using("leaky").create(mark="rest"), "25P03", code_of=code_of)
        raises(lambda: Note.objects.using("leaky").create(mark="rest"), code_of=code_of)
        transaction.set_rollback(True, using="leaky")
    same(one("SELECT 1", using="leaky"), (1,))
    same((ADMIN.marks("leaked"), ADMIN.marks("rest")), (0, 0))


def leaked_then_commit():
    def block():
        with transaction.atomic(using="leaky"):
            one(LEAK + " RETURNING 1", using="leaky")
            ADMIN.wait_until_rolled_back()

    raises(block, "25P03", code_of=code_of)
    same(one("SELECT 1", using="leaky"), (1,))
    same(ADMIN.marks("leaked"), 0)


def leaked_in_block():
    """Also when the leak was met inside of a nested atomic(), whose savepoint is gone."""

    def block():
        with transaction.atomic(using="leaky"):
            one(LEAK + " RETURNING 1", using="leaky")
            ADMIN.wait_until_rolled_back()
            try:
                with transaction.atomic(using="leaky"):
                    Note.objects.using("leaky").create(mark="rest")
            except Error:
                pass
            Note.objects.using("leaky").create(mark="rest")

    raises(block, code_of=code_of)
    Note.objects.using("leaky").create(mark="after")
    same((ADMIN.marks("leaked"), ADMIN.marks("rest"), ADMIN.marks("after")), (0, 0, 1))


main(
    transactions,
    prepared,
    cancel,
    cursors,
    large,
    reconnect,
    crowd,
    leaked_then_statement,
    leaked_then_commit,
    leaked_in_block,
)
