// Random ids: 16 characters of 0-9a-zA-Z (95 random bits), the form that all Fame nodes use. The only file that imports nanoid.
import { customAlphabet } from 'nanoid';

const ALPHABET = '0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ';

/** Creates a random id. Treat ids of other nodes as opaque text. */
export const newId: () => string = customAlphabet(ALPHABET, 16);
