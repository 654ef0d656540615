package shop;

import java.util.UUID;
import org.springframework.data.jpa.repository.JpaRepository;

/** Orders that were begun. */
interface Orders extends JpaRepository<Order, UUID> {}
