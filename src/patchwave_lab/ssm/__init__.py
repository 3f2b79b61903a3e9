"""Systems Manager: what moto lacks or gets wrong."""
