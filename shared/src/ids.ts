// Random ids: 16 characters of 0-9a-zA-Z (95 random bits), as every Fame node uses them. The only file that imports nanoid.
import { customAlphabet } from 'nanoid';

const ALPHABET = '0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ';

/** A random id of 16 characters of `[0-9a-zA-Z]`. Ids of other nodes are opaque. */
export const newId: () => string = customAlphabet(ALPHABET, 16);
