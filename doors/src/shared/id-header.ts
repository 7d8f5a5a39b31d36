// Ids of conversations and turns in headers. Callers and agents choose the ids, which may contain any character.

const PRINTABLE = /^[\x20-\x7e]+$/;

/** Returns an id as the value of a header, percent-encoded if a header cannot contain its characters. */
export const idHeader = (id: string): string =>
  PRINTABLE.test(id) ? id : encodeURIComponent(id.toWellFormed());
