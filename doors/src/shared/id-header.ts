// Ids of conversations and turns as headers. Callers and agents choose them, so they may have any character.

const PRINTABLE = /^[\x20-\x7e]+$/;

/** Returns an id as the value of a header: in percent encoding if a header cannot have it. */
export const idHeader = (id: string): string =>
  PRINTABLE.test(id) ? id : encodeURIComponent(id.toWellFormed());
