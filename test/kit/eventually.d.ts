/** Repeats `check` until it does not throw, and returns its result. */
export declare const eventually: <T>(check: () => T | Promise<T>) => Promise<T>;
//# sourceMappingURL=eventually.d.ts.map
