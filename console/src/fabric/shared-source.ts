// A source of data that several parts of a page use. It runs while at least one of them does.
import { useEffect } from 'preact/hooks';

export interface SharedSource {
  /** Starts the source, if this is the first user. Returns a function that ends the use. */
  use(): () => void;
}

/** `start` is called for the first user and returns a function that stops the source after the last one. */
export function sharedSource(start: () => () => void): SharedSource {
  let users = 0;
  let stop: (() => void) | undefined;
  return {
    use() {
      if (users++ === 0) stop = start();
      let isUsed = true;
      return () => {
        if (!isUsed) return;
        isUsed = false;
        if (--users > 0) return;
        stop?.();
        stop = undefined;
      };
    },
  };
}

/** Uses a source while the component is mounted. */
export function useSource(source: SharedSource): void {
  useEffect(() => source.use(), [source]);
}
