package interop;

import java.nio.file.Files;
import java.nio.file.Path;
import org.apache.flink.table.api.EnvironmentSettings;
import org.apache.flink.table.api.TableEnvironment;
import org.apache.flink.types.Row;
import org.apache.flink.util.CloseableIterator;

/**
 * Runs the statements of a file in a cluster of its own process: FlinkSql FILE COUNT.
 *
 * <p>Prints COUNT rows of the last statement, a query, with the kind of each change.
 */
public final class FlinkSql {
  public static void main(String[] given) throws Exception {
    TableEnvironment tables = TableEnvironment.create(EnvironmentSettings.inStreamingMode());
    tables.getConfig().set("parallelism.default", "1");
    String[] statements = Files.readString(Path.of(given[0])).strip().split(";");
    int last = statements.length - 1;
    for (int number = 0; number < last; number++) {
      tables.executeSql(statements[number]);
    }
    int left = Integer.parseInt(given[1]);
    try (CloseableIterator<Row> rows = tables.executeSql(statements[last]).collect()) {
      while (left-- > 0 && rows.hasNext()) {
        System.out.println(rows.next());
      }
    }
    System.exit(0);
  }
}
