package shop;

import org.springframework.data.jpa.repository.JpaRepository;

/** The database. */
interface Purchases extends JpaRepository<Purchase, Long> {}
