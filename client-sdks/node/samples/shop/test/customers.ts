/** Customers, whose details are nowhere else: whatever has them in the clear had it from here. */
export const ANNA = {
  email: 'anna.lindqvist@example.org',
  name: 'Anna Lindqvist',
  address: 'Fjällgatan 23\n11628 Stockholm',
  card: '4111 1111 1111 1111',
  password: 'a-long-walk-at-dusk',
};
export const BRUNO = {
  email: 'bruno.tavares@example.org',
  name: 'Bruno <b>Tavares</b>',
  address: 'Rua da Palma 7\n1100-390 Lisboa',
  card: '5555555555554444',
  password: 'two-lemons-and-salt',
};
export const CARLA = {
  email: 'carla.moreau@example.org',
  name: 'Carla Moreau',
  address: '9 quai des Chartrons\n33000 Bordeaux',
  card: '378282246310005',
  password: 'three-blue-bottles',
};

type Customer = typeof ANNA;

/** All that nobody may find. */
export function secretsOf({ email, name, address, card, password }: Customer): string[] {
  const digits = card.replaceAll(' ', '');
  return [email, name.replace(/ .*/, ''), ...address.split('\n'), card, digits, digits.slice(0, -4), password];
}
