/** Removes the user name, password, query and fragment of a URL, for output that people read. Accepts any text. */
export const redactUrl = (url: string): string => url.replace(/\/\/[^/@]*@/, '//').replace(/[?#].*$/s, '');
