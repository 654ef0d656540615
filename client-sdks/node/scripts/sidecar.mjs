// Says what tests are about to run the sidecar from, before anything else: building it takes minutes, and says nothing.
import { accessSync, constants } from 'node:fs';

const binary = process.env.LUNASEC_BIN;

if (binary === undefined) {
  process.stderr.write(
    'LUNASEC_BIN is not set: cargo will build the sidecar, which takes minutes the first time; to use one that is built, set LUNASEC_BIN to it.\n',
  );
} else {
  try {
    accessSync(binary, constants.X_OK);
  } catch {
    process.stderr.write(
      `LUNASEC_BIN is ${binary}, which cannot be run: set it to the sidecar's binary, or unset it.\n`,
    );
    process.exitCode = 1;
  }
}
