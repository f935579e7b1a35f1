import java.io.PrintWriter;
import java.io.StringReader;
import java.io.StringWriter;
import java.net.URI;
import java.sql.BatchUpdateException;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.postgresql.PGConnection;
import org.postgresql.PGNotification;
import org.postgresql.copy.CopyManager;
import org.postgresql.largeobject.LargeObject;
import org.postgresql.largeobject.LargeObjectManager;

/**
 * pgjdbc, unchanged: its BEGIN by the extended protocol, server-side statements from the fifth execution on, batches, COPY, cancel,
 * large objects (which speak FunctionCall).
 *
 * <p>The environment says where: INTEROP_TARGET and INTEROP_LEAKY (URLs through what is tested; the latter's guard ends what is idle
 * in a transaction; missing where there is no guard) and INTEROP_ADMIN (PostgreSQL itself).
 */
public final class Pgjdbc {
    /** An advisory lock that a leaked transaction holds: who gets it knows that the transaction was ended. */
    static final int KEY = 20011;

    static final String LEAK = "INSERT INTO notes (mark) SELECT 'leaked' FROM pg_advisory_xact_lock(" + KEY + ")";

    /** More than poolguard keeps on a server here, and than the driver's cache is made to keep. */
    static final int MANY = 60;

    static final int LARGE = 8 << 20;
    static final int ROWS = 20_000;
    static final String SLEEPERS =
            "SELECT count(*) FROM pg_stat_activity WHERE query ~ 'pg_sleep' AND state = 'active' AND pid <> pg_backend_pid()";

    interface Scenario {
        void run() throws Exception;
    }

    interface Step {
        void run() throws SQLException;
    }

    // What the scenarios share.

    static Connection connect(String variable, String options) throws SQLException {
        URI url = URI.create(System.getenv(variable));
        return DriverManager.getConnection(
                "jdbc:postgresql://" + url.getHost() + ":" + url.getPort() + url.getPath() + "?user=" + url.getUserInfo() + options);
    }

    static Connection connect() throws SQLException {
        return connect("INTEROP_TARGET", "");
    }

    static Connection leaky() throws SQLException {
        Connection client = connect("INTEROP_LEAKY", "");
        client.setAutoCommit(false);
        return client;
    }

    static Object value(Connection client, String text, Object... parameters) throws SQLException {
        try (PreparedStatement statement = client.prepareStatement(text)) {
            for (int n = 0; n < parameters.length; n++) {
                statement.setObject(n + 1, parameters[n]);
            }
            if (!statement.execute()) {
                return null;
            }
            try (ResultSet rows = statement.getResultSet()) {
                return rows.next() ? rows.getObject(1) : null;
            }
        }
    }

    static Object admin(String text, Object... parameters) throws SQLException {
        try (Connection admin = connect("INTEROP_ADMIN", "")) {
            return value(admin, text, parameters);
        }
    }

    static long marks(String mark) throws SQLException {
        return (Long) admin("SELECT count(*) FROM notes WHERE mark = ?", mark);
    }

    static void kill(Object pid) throws SQLException {
        same(admin("SELECT pg_terminate_backend(?, 10000)", pid), true);
    }

    static void waitUntilRolledBack() throws SQLException {
        admin("SELECT pg_advisory_lock(" + KEY + ")");
    }

    static void waitUntilItSleeps() throws SQLException {
        while (admin(SLEEPERS).equals(0L)) {
            admin("SELECT pg_sleep(0.01)");
        }
    }

    static void same(Object got, Object expected) {
        if (!expected.equals(got)) {
            throw new AssertionError("got " + got + ", expected " + expected);
        }
    }

    static void fails(Step step, String... codes) {
        try {
            step.run();
        } catch (SQLException error) {
            if (codes.length > 0 && !Arrays.asList(codes).contains(error.getSQLState())) {
                throw new AssertionError("SQLSTATE " + error.getSQLState() + ", expected " + Arrays.toString(codes), error);
            }
            return;
        }
        throw new AssertionError("no error, expected " + Arrays.toString(codes));
    }

    // The scenarios.

    static void transactions() throws Exception {
        try (Connection client = connect()) {
            client.setAutoCommit(false);
            value(client, "INSERT INTO notes (mark) VALUES (?)", "kept");
            var here = client.setSavepoint();
            fails(() -> value(client, "SELECT 1/0"), "22012");
            client.rollback(here);
            value(client, "INSERT INTO notes (mark) VALUES (?)", "kept");
            client.commit();
            value(client, "INSERT INTO notes (mark) VALUES (?)", "undone");
            fails(() -> value(client, "SELECT 1/0"), "22012");
            fails(() -> value(client, "SELECT 1"), "25P02");
            client.rollback();
            client.setTransactionIsolation(Connection.TRANSACTION_SERIALIZABLE);
            client.setReadOnly(true);
            same(value(client, "SHOW transaction_isolation"), "serializable");
            fails(() -> value(client, "INSERT INTO notes (mark) VALUES ('undone')"), "25006");
            client.rollback();
        }
        same(List.of(marks("kept"), marks("undone")), List.of(2L, 0L));
    }

    /** From the first execution on under a name, with a small cache and with none; and a table that changes. */
    static void prepared() throws Exception {
        for (String options : List.of("&prepareThreshold=1&preparedStatementCacheQueries=5", "&prepareThreshold=0", "&preferQueryMode=simple")) {
            try (Connection one = connect("INTEROP_TARGET", options); Connection two = connect("INTEROP_TARGET", options)) {
                for (int round = 0; round < 2; round++) {
                    for (int n = 0; n < MANY; n++) {
                        for (Connection client : List.of(one, two)) {
                            same(value(client, "SELECT ?::int + " + n, n), 2 * n);
                        }
                    }
                }
            }
        }
        try (Connection client = connect()) {
            try (PreparedStatement statement = client.prepareStatement("SELECT ?::int * 2")) {
                for (int n = 0; n < 20; n++) {
                    statement.setInt(1, n);
                    try (ResultSet rows = statement.executeQuery()) {
                        rows.next();
                        same(rows.getInt(1), 2 * n);
                    }
                }
            }
            value(client, "CREATE TABLE changing (a int)");
            for (int n = 0; n < 8; n++) {
                value(client, "SELECT * FROM changing");
            }
            value(client, "ALTER TABLE changing ADD b int");
            for (int n = 0; n < 8; n++) {
                value(client, "SELECT * FROM changing");
            }
        }
    }

    static void copy() throws Exception {
        try (Connection client = connect()) {
            CopyManager manager = client.unwrap(PGConnection.class).getCopyAPI();
            StringBuilder lines = new StringBuilder();
            for (int n = 0; n < ROWS; n++) {
                lines.append("copied\t").append(n).append('\n');
            }
            same(manager.copyIn("COPY notes (mark, number) FROM STDIN", new StringReader(lines.toString())), (long) ROWS);
            StringWriter out = new StringWriter();
            manager.copyOut("COPY (SELECT mark, number FROM notes WHERE mark = 'copied' ORDER BY 2) TO STDOUT", out);
            same(out.toString(), lines.toString());
            fails(() -> {
                try {
                    manager.copyIn("COPY notes (mark, number) FROM STDIN", new StringReader("bad\t1\nbad\tx\n"));
                } catch (java.io.IOException error) {
                    throw new AssertionError(error);
                }
            }, "22P02");
            same(value(client, "SELECT 1"), 1);
        }
        same(marks("bad"), 0L);
    }

    static void cancel() throws Exception {
        try (Connection client = connect(); Statement statement = client.createStatement()) {
            Thread canceller = new Thread(() -> {
                try {
                    waitUntilItSleeps();
                    statement.cancel();
                } catch (SQLException error) {
                    throw new AssertionError(error);
                }
            });
            canceller.start();
            fails(() -> statement.execute("SELECT pg_sleep(60)"), "57014");
            canceller.join();
            statement.setQueryTimeout(1);
            fails(() -> statement.execute("SELECT pg_sleep(60)"), "57014");
            same(value(client, "SELECT 1"), 1);
        }
    }

    /** Batches: hundreds of Bind and Execute before a Sync. */
    static void pipeline() throws Exception {
        try (Connection client = connect("INTEROP_TARGET", "&prepareThreshold=1")) {
            client.setAutoCommit(false);
            try (PreparedStatement insert = client.prepareStatement("INSERT INTO notes (mark, number) VALUES ('piped', 10 / ?)")) {
                for (int divisor : new int[] {1, 0, 1}) {
                    for (int n = 0; n < 300; n++) {
                        insert.setInt(1, divisor);
                        insert.addBatch();
                    }
                }
                try {
                    insert.executeBatch();
                    throw new AssertionError("no error");
                } catch (BatchUpdateException error) {
                    same(error.getSQLState(), "22012");
                }
                client.rollback();
                for (int n = 0; n < 1000; n++) {
                    insert.setInt(1, 1);
                    insert.addBatch();
                }
                same(insert.executeBatch().length, 1000);
                client.commit();
            }
        }
        same(marks("piped"), 1000L);
    }

    static void listen() throws Exception {
        try (Connection client = connect(); Connection other = connect()) {
            value(client, "LISTEN news");
            for (int n = 0; n < 3; n++) {
                value(other, "SELECT pg_notify('news', ?)", String.valueOf(n));
            }
            List<String> told = new ArrayList<>();
            while (told.size() < 3) {
                PGNotification[] come = client.unwrap(PGConnection.class).getNotifications(10_000);
                if (come == null || come.length == 0) {
                    throw new AssertionError("nothing for 10 s, after " + told);
                }
                Arrays.stream(come).map(PGNotification::getParameter).forEach(told::add);
            }
            same(told, List.of("0", "1", "2"));
            value(client, "UNLISTEN *");
        }
    }

    static void large() throws Exception {
        byte[] bytes = new byte[LARGE];
        for (int n = 0; n < LARGE; n++) {
            bytes[n] = (byte) n;
        }
        try (Connection client = connect()) {
            same(Arrays.equals((byte[]) value(client, "SELECT ?::bytea", (Object) bytes), bytes), true);
            client.setAutoCommit(false);
            try (PreparedStatement many = client.prepareStatement("SELECT n, repeat('x', 100) FROM generate_series(1, ?) n")) {
                many.setFetchSize(500);
                many.setInt(1, ROWS);
                int count = 0;
                try (ResultSet rows = many.executeQuery()) {
                    while (rows.next()) {
                        count++;
                    }
                }
                same(count, ROWS);
            }
            LargeObjectManager objects = client.unwrap(PGConnection.class).getLargeObjectAPI();
            long id = objects.createLO(LargeObjectManager.READWRITE);
            try (LargeObject object = objects.open(id, LargeObjectManager.READWRITE)) {
                object.write(bytes, 0, 1 << 20);
                object.seek(0);
                same(Arrays.equals(object.read(1 << 20), Arrays.copyOf(bytes, 1 << 20)), true);
            }
            objects.delete(id);
            client.commit();
        }
    }

    static void reconnect() throws Exception {
        try (Connection client = connect()) {
            client.setAutoCommit(false);
            kill(value(client, "SELECT pg_backend_pid()"));
            fails(() -> value(client, "SELECT 1"));
            same(client.isValid(5), false);
        }
        try (Connection again = connect()) {
            same(again.isValid(5), true);
            same(value(again, "SELECT 1"), 1);
        }
    }

    static void crowd() throws Exception {
        ExecutorService threads = Executors.newFixedThreadPool(12);
        List<Future<Void>> all = new ArrayList<>();
        for (int mark = 0; mark < 12; mark++) {
            String text = String.valueOf(mark);
            Callable<Void> one = () -> {
                try (Connection client = connect()) {
                    client.setAutoCommit(false);
                    for (int n = 0; n < 20; n++) {
                        same(value(client, "SELECT ? || repeat(?, 500)", text + "/" + n, text), text + "/" + n + text.repeat(500));
                        client.commit();
                    }
                }
                return null;
            };
            all.add(threads.submit(one));
        }
        for (Future<Void> one : all) {
            one.get();
        }
        threads.shutdown();
    }

    static void leakedThenStatement() throws Exception {
        try (Connection client = leaky()) {
            value(client, LEAK);
            waitUntilRolledBack();
            fails(() -> value(client, "INSERT INTO notes (mark) VALUES (?)", "rest"), "25P03");
            fails(() -> value(client, "INSERT INTO notes (mark) VALUES (?)", "rest"), "25P02");
            client.rollback();
            same(value(client, "SELECT 1"), 1);
        }
        same(List.of(marks("leaked"), marks("rest")), List.of(0L, 0L));
    }

    static void leakedThenCommit() throws Exception {
        try (Connection client = leaky()) {
            value(client, LEAK);
            waitUntilRolledBack();
            fails(client::commit, "25P03");
            client.rollback();
            same(value(client, "SELECT 1"), 1);
        }
        same(marks("leaked"), 0L);
    }

    /** A batch, and a COMMIT after errors that nobody looked at. */
    static void leakedInBlock() throws Exception {
        try (Connection client = leaky()) {
            value(client, LEAK);
            waitUntilRolledBack();
            try (PreparedStatement insert = client.prepareStatement("INSERT INTO notes (mark) VALUES (?)")) {
                for (int n = 0; n < 50; n++) {
                    insert.setString(1, "rest");
                    insert.addBatch();
                }
                fails(insert::executeBatch, "25P03");
            }
            fails(client::commit);
            client.rollback();
            client.setAutoCommit(true);
            value(client, "INSERT INTO notes (mark) VALUES ('after')");
        }
        same(List.of(marks("leaked"), marks("rest"), marks("after")), List.of(0L, 0L, 1L));
    }

    public static void main(String[] arguments) {
        Map<String, Scenario> scenarios = new LinkedHashMap<>();
        scenarios.put("transactions", Pgjdbc::transactions);
        scenarios.put("prepared", Pgjdbc::prepared);
        scenarios.put("copy", Pgjdbc::copy);
        scenarios.put("cancel", Pgjdbc::cancel);
        scenarios.put("pipeline", Pgjdbc::pipeline);
        scenarios.put("listen", Pgjdbc::listen);
        scenarios.put("large", Pgjdbc::large);
        scenarios.put("reconnect", Pgjdbc::reconnect);
        scenarios.put("crowd", Pgjdbc::crowd);
        scenarios.put("leaked_then_statement", Pgjdbc::leakedThenStatement);
        scenarios.put("leaked_then_commit", Pgjdbc::leakedThenCommit);
        scenarios.put("leaked_in_block", Pgjdbc::leakedInBlock);
        scenarios.forEach((name, scenario) -> {
            if (name.startsWith("leaked") && System.getenv("INTEROP_LEAKY") == null) {
                return;
            }
            String detail = "";
            try {
                scenario.run();
            } catch (Throwable failure) {
                StringWriter trace = new StringWriter();
                failure.printStackTrace(new PrintWriter(trace));
                detail = trace.toString();
            }
            System.out.printf("{\"scenario\": \"%s\", \"ok\": %s, \"detail\": \"%s\"}%n", name, detail.isEmpty(), escaped(detail));
        });
    }

    static String escaped(String text) {
        StringBuilder json = new StringBuilder();
        for (char one : text.toCharArray()) {
            if (one < ' ' || one == '"' || one == '\\') {
                json.append(String.format("\\u%04x", (int) one));
            } else {
                json.append(one);
            }
        }
        return json.toString();
    }
}
