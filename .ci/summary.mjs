// Prints what the test runner counted over all of its reports as `N passed, N failed, N skipped`; exit code 1 when a test
// failed, when none ran, or when a report is missing.
import { readFileSync } from 'node:fs';

const sum = { passed: 0, failed: 0, skipped: 0 };
for (const file of process.argv.slice(2)) {
  try {
    const report = JSON.parse(readFileSync(file, 'utf8'));
    // A file that could not even be loaded has no tests; it counts as one that failed.
    const broken = report.testResults.filter(
      (result) => result.status === 'failed' && result.assertionResults.length === 0,
    );
    sum.passed += report.numPassedTests;
    sum.failed += report.numFailedTests + broken.length;
    sum.skipped += report.numPendingTests + (report.numTodoTests ?? 0);
  } catch (error) {
    console.log(`${file} is no report of the tests (${error.message})`);
    sum.failed += 1;
  }
}
console.log(`${sum.passed} passed, ${sum.failed} failed, ${sum.skipped} skipped`);
process.exit(sum.failed === 0 && sum.passed > 0 ? 0 : 1);
