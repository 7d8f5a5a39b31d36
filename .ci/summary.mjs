// Prints what the test runner counted as `N passed, N failed, N skipped`; exit code 1 when a test failed or none ran.
import { readFileSync } from 'node:fs';

let report;
try {
  report = JSON.parse(readFileSync(process.argv[2], 'utf8'));
} catch (error) {
  console.log(`The tests left no report (${error.message})`);
  console.log('0 passed, 1 failed, 0 skipped');
  process.exit(1);
}
// A file that could not even be loaded has no tests; it counts as one that failed.
const broken = report.testResults.filter(
  (file) => file.status === 'failed' && file.assertionResults.length === 0,
);
const passed = report.numPassedTests;
const failed = report.numFailedTests + broken.length;
const skipped = report.numPendingTests + (report.numTodoTests ?? 0);
console.log(`${passed} passed, ${failed} failed, ${skipped} skipped`);
process.exit(failed === 0 && passed > 0 ? 0 : 1);
