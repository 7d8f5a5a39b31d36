/** Returns the time in microseconds, from a clock that all processes of the machine share. */
export const nowUs = (): number => Number(process.hrtime.bigint() / 1_000n);
