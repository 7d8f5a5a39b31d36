// The one door to nanoid: 16 characters of 0-9a-zA-Z, the shape that every Fame node uses for its ids (95 random bits).
import { customAlphabet } from 'nanoid';

const ALPHABET = '0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ';

/** A fresh random id, 16 characters of `[0-9a-zA-Z]`. Treat ids of others as opaque. */
export const newId: () => string = customAlphabet(ALPHABET, 16);
