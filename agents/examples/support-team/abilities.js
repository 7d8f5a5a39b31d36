// Functions of the support team. An agent can call those that its file lists. JavaScript, because Node runs no TypeScript below
// `node_modules`, where the published package is.

/** @type {Readonly<Record<string, { status: string, arrives: string }>>} */
const ORDERS = {
  1042: { status: 'on its way', arrives: 'tomorrow' },
  1043: { status: 'being packed', arrives: 'on Friday' },
};

const PRODUCTS = [
  { name: 'Desk lamp Ida', price: '49 EUR', words: ['desk', 'reading', 'office', 'table'] },
  { name: 'Floor lamp Nils', price: '120 EUR', words: ['floor', 'living', 'tall', 'standing'] },
  { name: 'Night light Pim', price: '19 EUR', words: ['night', 'child', 'bedroom', 'small'] },
];

/**
 * Returns data, from which the calling agent writes the answer.
 * @param {{ order_id: string }} args
 */
export function order_status({ order_id }) {
  const order = ORDERS[order_id.replace(/\D/g, '')];
  return order ? { order_id, ...order } : { order_id, status: 'unknown: there is no order with this number' };
}

/**
 * Returns the products that match a query, or else all of them.
 * @param {{ query: string }} args
 */
export function find_products({ query }) {
  const wanted = query.toLowerCase().match(/\p{L}+/gu) ?? [];
  const found = PRODUCTS.filter(({ words }) => words.some((word) => wanted.includes(word)));
  return { products: (found.length > 0 ? found : PRODUCTS).map(({ name, price }) => ({ name, price })) };
}

/**
 * Returns a text, which the customer receives unchanged and without a model call.
 * @param {{ sentiment?: string }} args
 */
export const thanks = ({ sentiment }) =>
  sentiment === 'bad' ? 'Thank you for telling us. We will do better.' : 'You are welcome!';

export const what_we_do = () => 'I can look up your order or help you find a lamp. What can I do for you?';
