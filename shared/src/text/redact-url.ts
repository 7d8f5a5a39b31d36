/** A URL without its user name, password, query and fragment, for output that people read. Accepts any text. */
export const redactUrl = (url: string): string => url.replace(/\/\/[^/@]*@/, '//').replace(/[?#].*$/s, '');
