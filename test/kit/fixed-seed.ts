// Set-up of every test file: property tests use one seed in continuous integration, so that the result does not depend on chance. Other
// runs choose a new one each time, and print it with a failure.
import fc from 'fast-check';

const SEED = 358_096_064;

if (process.env.CI) fc.configureGlobal({ seed: SEED });
